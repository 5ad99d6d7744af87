// The authorization server of package oidcprovider. Its first line of input is its
// settings as JSON; it answers one line of JSON with its address, and ends with its
// input, so that it never outlives the test that started it.
import { createServer } from 'node:http';
import { createInterface } from 'node:readline';
import Provider from 'oidc-provider';

const lines = createInterface({ input: process.stdin });
lines.once('line', (line) => start(JSON.parse(line)));
process.stdin.on('end', () => process.exit(0));

function start(settings) {
  const server = createServer();
  server.listen(0, '127.0.0.1', () => {
    const issuer = `http://127.0.0.1:${server.address().port}`;
    const provider = new Provider(issuer, {
      clients: settings.clients,
      scopes: ['openid', 'offline_access', ...settings.scopes],
      cookies: { keys: ['not a secret'] },
      pkce: { required: () => true },
      claims: { openid: ['sub'], email: ['email', 'email_verified'], profile: ['name'] },
      findAccount: (ctx, sub) => ({ accountId: sub, claims: () => ({ sub, ...settings.people[sub] }) }),
      rotateRefreshToken: true,
      issueRefreshToken: async (ctx, client, code) =>
        client.grantTypeAllowed('refresh_token') && code.scopes.has('offline_access'),
      features: {
        devInteractions: { enabled: true },
        clientCredentials: { enabled: true },
        deviceFlow: { enabled: true },
        introspection: { enabled: true },
        revocation: { enabled: true },
        dPoP: { enabled: true, nonceSecret: Buffer.alloc(32, 7), requireNonce: () => true },
        pushedAuthorizationRequests: { enabled: true },
      },
    });
    server.on('request', provider.callback());
    process.stdout.write(JSON.stringify({ issuer }) + '\n');
  });
}
