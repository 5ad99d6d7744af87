package vault_test

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"claviger/clavigertest/oauthserver"
	"claviger/internal/store"
	"claviger/internal/vault"
)

// firstWarning is closed by the first warning that is logged.
type firstWarning struct {
	slog.Handler
	seen chan struct{}
}

func (w firstWarning) Enabled(context.Context, slog.Level) bool { return true }

func (w firstWarning) Handle(_ context.Context, r slog.Record) error {
	if r.Message == "a vendor's answer is not stored yet" {
		select {
		case <-w.seen:
		default:
			close(w.seen)
		}
	}
	return nil
}

// The database takes no writes when the answer arrives: the process holds on to it, and
// stores it as soon as it can. Nobody sends the token again.
func TestAbuse_074_DatabaseDownWhenTheAnswerComes(t *testing.T) {
	s := newStand(t, sqlite(t), strict, 0, nil)
	warning := firstWarning{slog.DiscardHandler, make(chan struct{})}
	n := s.open(vault.Refresh{Lease: time.Second, Log: slog.New(warning)})
	s.found()
	id, _ := s.connect(time.Hour)
	other, err := store.Open(t.Context(), store.Config{URL: s.url, Now: s.now})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = other.Close() })
	s.pass(2 * time.Hour)
	reached, hold := make(chan struct{}, 1), make(chan struct{})
	s.server.Next(oauthserver.Fault{Reached: reached, Hold: hold})
	got := make(chan string)
	go func() {
		token, err := n.use(t.Context(), id)
		if err != nil {
			t.Errorf("who waited: %v", err)
		}
		got <- token
	}()
	<-reached
	err = other.InTx(t.Context(), "", func(tx *store.Tx) error {
		if err := tx.AddChange(t.Context(), "test", "holds the only writer's place"); err != nil {
			return err
		}
		close(hold)
		<-warning.seen
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if token := <-got; token == "at_first" || token == "" {
		t.Errorf("who waited got %q", token)
	}
	if rotations, reuses := s.server.Refreshed(); rotations != 1 || reuses != 0 || s.sent() != 1 {
		t.Errorf("%d rotations, %d reuses, %d requests", rotations, reuses, s.sent())
	}
	s.pass(2 * time.Hour)
	n.must(id)
}
