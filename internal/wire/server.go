package wire

import (
	"log/slog"
	"net/http"
	"time"
)

// NewServer makes an HTTP server with the limits of a listener that strangers
// reach. It has no write timeout, because answers may be streams; bodies are read
// under deadlines of their own. Set Addr, or call Serve with a listener.
func NewServer(h http.Handler, log *slog.Logger) *http.Server {
	return &http.Server{
		Handler:                      h,
		ReadHeaderTimeout:            5 * time.Second,
		IdleTimeout:                  2 * time.Minute,
		MaxHeaderBytes:               64 << 10,
		DisableGeneralOptionsHandler: true,
		ErrorLog:                     slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
}
