package store

import (
	"context"
	"slices"
	"strings"
)

// Record is what is known by now of one thing that happened, as a log has it. IDs order a log,
// bytewise; where they begin with a time, the oldest comes first.
type Record struct {
	Log, ID string
	Body    []byte
	// Held, once added, keeps the record apart from those that others push out of the log by their
	// number: a delivery that was given up is nowhere else. It is not read back.
	Held bool
}

// Records are logs whose records grow as more becomes known. Its writer may be behind, and lose what
// it has not written: what must not be lost is in the outbox, or Held.
type Records interface {
	// AddRecords adds each body to the end of what the record has by now, all or none; a record that
	// there is none of begins with it. Of a log that then has more than keep records, 1 at least, the
	// first are forgotten; held ones are not counted in that, and have HeldRatio times the room to
	// themselves. It returns how many held ones had to go.
	AddRecords(ctx context.Context, keep int, records ...Record) (dropped int, err error)
	// GetRecord returns a record, or ErrNotFound.
	GetRecord(ctx context.Context, log, id string) (Record, error)
	// ListRecords returns up to limit records of a log, the last first: those before the id before, ""
	// for all.
	ListRecords(ctx context.Context, log, before string, limit int) ([]Record, error)
	// ListHeld is ListRecords of held records alone: what is rare among others is found at once.
	ListHeld(ctx context.Context, log, before string, limit int) ([]Record, error)
	// Logs returns the names of the logs that have a record, in no special order.
	Logs(ctx context.Context) ([]string, error)
	// HeldLogs is Logs of those that have a held record.
	HeldLogs(ctx context.Context) ([]string, error)
	// ForgetRecords forgets up to limit records of a log that come before the id before, held ones too,
	// and returns how many it did.
	ForgetRecords(ctx context.Context, log, before string, limit int) (int, error)
}

// HeldRatio is how many held records a log may have for each other one.
const HeldRatio = 10

func checkRecords(records []Record) error {
	for i := range records {
		if err := checkNames(records[i].Log, records[i].ID); err != nil {
			return err
		}
	}
	return nil
}

// lastOf are the last of a log's records, the last first.
func lastOf(list []Record, limit int) []Record {
	slices.SortFunc(list, func(a, b Record) int { return strings.Compare(b.ID, a.ID) })
	return list[:min(len(list), max(0, limit))]
}
