package store

import (
	"os"
	"testing"

	"go.uber.org/goleak"
)

// childEnv names what this test binary does when a test starts it again, as a process that can be
// killed or put on a file system of its own.
const childEnv = "HOOKSWITCH_STORE_CHILD"

func TestMain(m *testing.M) {
	switch os.Getenv(childEnv) {
	case "":
		// A go-redis pool whose server has died notices its own end within a second, longer than goleak waits.
		goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("github.com/redis/go-redis/v9/internal/pool.(*ConnPool).tryDial"))
	case "write":
		writeUntilKilled(os.Args[1], os.Args[2])
	case "fill":
		fillDisk(os.Args[1])
	case "limit":
		growToLimit(os.Args[1])
	default:
		panic("unknown child")
	}
}
