// Node.js before 22 has no fs.globSync, which conformance imports and, against servers,
// does not call.
import { register } from 'node:module'
import * as fs from 'node:fs'

if (!fs.globSync) {
  const wrapper = 'data:text/javascript,' + encodeURIComponent("export * from 'node:fs'; export const globSync = () => { throw new Error('no glob') }")
  const hook = `export const resolve = (name, context, next) => name === 'fs' && context.parentURL?.includes('/conformance/') ? { url: ${JSON.stringify(wrapper)}, shortCircuit: true } : next(name, context)`
  register('data:text/javascript,' + encodeURIComponent(hook))
}
