package app

import (
	"context"
	"encoding/json"
	"math"
	"net/http"
	"net/http/pprof"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// readyTimeout bounds a readiness check.
const readyTimeout = 3 * time.Second

// healthy says that the process lives.
func (a *App) healthy(w http.ResponseWriter, _ *http.Request) {
	writeStatus(w, http.StatusOK, "ok")
}

// ready says that the database is reachable and current and that the ledger can be
// written. The master key was proven before anything listened.
func (a *App) ready(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), readyTimeout)
	defer cancel()
	if err := a.db.Ready(ctx); err != nil {
		a.log.WarnContext(ctx, "not ready", "error", err)
		writeStatus(w, http.StatusServiceUnavailable, "database_unavailable")
		return
	}
	if err := a.gate.Ready(); err != nil {
		writeStatus(w, http.StatusServiceUnavailable, "audit_unavailable")
		return
	}
	writeStatus(w, http.StatusOK, "ready")
}

func writeStatus(w http.ResponseWriter, code int, status string) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(map[string]string{"status": status})
}

// adminHandler serves health, metrics and profiles to the operator's own machine.
func (a *App) adminHandler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", a.healthy)
	mux.HandleFunc("GET /readyz", a.ready)
	mux.Handle("GET /metrics", promhttp.HandlerFor(a.metrics.registry, promhttp.HandlerOpts{MaxRequestsInFlight: 4, Timeout: 10 * time.Second}))
	mux.HandleFunc("GET /debug/pprof/", pprof.Index)
	mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	return mux
}

// metrics counts requests by operation. Labels come from the router alone, so that neither
// a tenant's names nor a path's ids can become one.
type metrics struct {
	registry *prometheus.Registry
	requests *prometheus.CounterVec
	duration *prometheus.HistogramVec
}

func newMetrics(a *App) *metrics {
	m := &metrics{
		registry: prometheus.NewRegistry(),
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "claviger_http_requests_total", Help: "Requests by operation and status class.",
		}, []string{"operation", "status"}),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "claviger_http_request_seconds", Help: "Time until the answer was written, by operation.",
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60},
		}, []string{"operation"}),
	}
	admitted := prometheus.NewCounterFunc(prometheus.CounterOpts{
		Name: "claviger_ledger_admitted_total", Help: "Uses of credentials that the gate admitted, and their ends.",
	}, func() float64 { n, _ := a.gate.Stats(); return float64(n) })
	denied := prometheus.NewCounterFunc(prometheus.CounterOpts{
		Name: "claviger_ledger_denied_total", Help: "Requests that the gate denied.",
	}, func() float64 { _, n := a.gate.Stats(); return float64(n) })
	ends := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "claviger_expiration_days", Help: "Days until the next token ends that nothing renews and whose end is known; +Inf if there is none.",
	}, a.daysToNextDeath)
	former := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "claviger_master_key_former_keysets", Help: "Keysets, up to 1,000, that are still wrapped under the master key before.",
	}, a.underFormer)
	unlogged := prometheus.NewCounterFunc(prometheus.CounterOpts{
		Name: "claviger_log_dropped_total", Help: "Lines that the log left out because the same was said too often.",
	}, a.logCaps.total)
	omitted := prometheus.NewCounterFunc(prometheus.CounterOpts{
		Name: "claviger_ledger_omitted_total", Help: "Refused tokens that the ledger does not list, because one source had too many.",
	}, func() float64 { return float64(a.tokens.Omitted()) })
	m.registry.MustRegister(m.requests, m.duration, admitted, denied, omitted, ends, former, unlogged,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// daysToNextDeath answers the metric of that name; NaN if the database does not answer.
func (a *App) daysToNextDeath() float64 {
	ctx, cancel := context.WithTimeout(context.Background(), readyTimeout)
	defer cancel()
	now := a.config.Now()
	next, err := a.db.NextDeath(ctx, now)
	switch {
	case err != nil:
		return math.NaN()
	case next.IsZero():
		return math.Inf(1)
	}
	return next.Sub(now).Hours() / 24
}

// underFormer answers the metric of that name; NaN if the database does not answer.
func (a *App) underFormer() float64 {
	ctx, cancel := context.WithTimeout(context.Background(), readyTimeout)
	defer cancel()
	n, err := a.vault.UnderFormer(ctx)
	if err != nil {
		return math.NaN()
	}
	return float64(n)
}

// observe counts one answer.
func (m *metrics) observe(operation string, status int, took time.Duration) {
	if operation == "" {
		operation = "none"
	}
	m.requests.WithLabelValues(operation, statusClass(status)).Inc()
	m.duration.WithLabelValues(operation).Observe(took.Seconds())
}

// statusClass answers "2xx" and the like.
func statusClass(code int) string { return strconv.Itoa(code/100) + "xx" }
