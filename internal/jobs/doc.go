// Package jobs runs work in the background: now, later, again after a failure, or at
// intervals. The engine is River, with the same code on PostgreSQL and SQLite.
//
// A job is inserted in the transaction of the change that wants it ([Queue.Insert]),
// so that neither is ever there without the other, and lives in the same database. It
// runs at least once: a process that is killed leaves its jobs running in name only,
// and they are taken up by others when it has missed three beats ([Config.Beat]). A
// process that was only asleep may meet them when it wakes. Whatever a job does must
// therefore be safe to do twice. A job that fails comes again on its kind's schedule
// until its attempts are used up, and is then discarded; one that panics or hangs
// fails like any other and disturbs no one else.
//
// Trust boundary: arguments are stored in the clear, so they hold ids and never
// secrets. Of a failure only its code is stored, never its text, which may quote a
// vendor.
package jobs
