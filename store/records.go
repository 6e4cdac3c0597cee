package store

import "context"

// Record is what is known by now of one thing that happened, as a log has it. IDs order a log,
// bytewise; where they begin with a time, the oldest comes first.
type Record struct {
	Log, ID string
	Body    []byte
}

// Records are logs whose records grow as more becomes known. Its writer may be behind, and lose what
// it has not written: what must not be lost is in the outbox.
type Records interface {
	// AddRecords adds each body to the end of what the record has by now, all or none; a record that
	// there is none of begins with it. Of a log that then has more than keep records, 1 at least, the
	// first are forgotten.
	AddRecords(ctx context.Context, keep int, records ...Record) error
	// GetRecord returns a record, or ErrNotFound.
	GetRecord(ctx context.Context, log, id string) (Record, error)
	// ListRecords returns up to limit records of a log, the last first: those before the id before, ""
	// for all.
	ListRecords(ctx context.Context, log, before string, limit int) ([]Record, error)
	// Logs returns the names of the logs that have a record, in no special order.
	Logs(ctx context.Context) ([]string, error)
	// ForgetRecords forgets up to limit records of a log that come before the id before, and returns
	// how many it did.
	ForgetRecords(ctx context.Context, log, before string, limit int) (int, error)
}

func checkRecords(records []Record) error {
	for i := range records {
		if err := checkNames(records[i].Log, records[i].ID); err != nil {
			return err
		}
	}
	return nil
}
