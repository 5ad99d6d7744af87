package app

import (
	"context"
	"errors"
	"net"
	"net/http"
	"time"

	"claviger/internal/wire"
)

// grace is how long a shutdown waits for what still runs.
const grace = 30 * time.Second

// Ports are the two addresses of an instance, taken and not yet answered on: who
// connects waits.
type Ports struct {
	api, admin net.Listener
	bare       error // why the process can still be dumped, if it can
}

// Bind takes the addresses of the settings. It comes before Open: an address that is
// taken then stops a start that has changed nothing. Port 0 gets a free one. From here on
// the memory of the process, which keys come into next, is closed to others.
func Bind(s Settings) (*Ports, error) {
	bare := harden()
	c := Config{Settings: s}
	c.fill()
	api, err := net.Listen("tcp", c.Addr)
	if err != nil {
		return nil, badSetting("addr", "the address cannot be listened on: "+c.Addr).With(err)
	}
	admin, err := net.Listen("tcp", c.AdminAddr)
	if err != nil {
		return nil, errors.Join(badSetting("admin.addr", "the address cannot be listened on: "+c.AdminAddr).With(err), api.Close())
	}
	return &Ports{api, admin, bare}, nil
}

// Close gives the addresses back, of an instance that could not be opened.
func (p *Ports) Close() error { return errors.Join(p.api.Close(), p.admin.Close()) }

// Listening is an App that answers on its addresses.
type Listening struct {
	app    *App
	api    net.Listener
	admin  net.Listener
	server [2]*http.Server
	failed chan error
	stop   context.CancelFunc // what goes on beside the listeners
}

// Serve answers on the addresses, which it closes in the end.
func (a *App) Serve(on *Ports) *Listening {
	if on.bare != nil {
		a.log.Warn("the process can still be dumped", "error", on.bare)
	}
	l := &Listening{app: a, api: on.api, admin: on.admin, failed: make(chan error, 2)}
	l.server = [2]*http.Server{wire.NewServer(a.handler, a.log), wire.NewServer(a.admin, a.log)}
	go l.serve(l.server[0], l.api)
	go l.serve(l.server[1], l.admin)
	beside, stop := context.WithCancel(context.Background())
	l.stop = stop
	if _, set := a.config.LookupEnv("GOGC"); !set {
		go tuneCollector(beside)
	}
	return l
}

func (l *Listening) serve(s *http.Server, on net.Listener) {
	if err := s.Serve(on); !errors.Is(err, http.ErrServerClosed) {
		l.failed <- err
	}
}

// Addr answers where the API listens.
func (l *Listening) Addr() string { return l.api.Addr().String() }

// AdminAddr answers where health and metrics listen.
func (l *Listening) AdminAddr() string { return l.admin.Addr().String() }

// Wait serves until the context ends or a listener fails, then shuts down: no new
// requests, what runs may finish within the grace, the ledger is flushed.
func (l *Listening) Wait(ctx context.Context) error {
	var failure error
	select {
	case <-ctx.Done():
	case failure = <-l.failed:
	}
	return errors.Join(failure, l.Shutdown())
}

// Shutdown stops the listeners and closes the App.
func (l *Listening) Shutdown() error {
	l.stop()
	ctx, cancel := context.WithTimeout(context.Background(), grace)
	defer cancel()
	var errs []error
	for _, s := range l.server {
		if err := s.Shutdown(ctx); err != nil {
			errs = append(errs, s.Close()) // streams that outlive the grace are cut
		}
	}
	closing, done := context.WithTimeout(context.Background(), grace)
	defer done()
	return errors.Join(append(errs, l.app.Close(closing))...)
}
