package notify

import (
	"container/heap"
	"time"
)

// alarm is when a lane gets something due.
type alarm struct {
	at   time.Time
	lane *lane
}

// alarms are a heap, the earliest first.
type alarms []alarm

func (a alarms) Len() int           { return len(a) }
func (a alarms) Less(i, j int) bool { return a[i].at.Before(a[j].at) }
func (a alarms) Swap(i, j int)      { a[i], a[j] = a[j], a[i] }
func (a *alarms) Push(x any)        { *a = append(*a, x.(alarm)) }
func (a *alarms) Pop() any {
	last := (*a)[len(*a)-1]
	*a = (*a)[:len(*a)-1]
	return last
}

// setAlarm wakes a lane at a time. One that the poll is early enough for is left to it, so that there
// are never many. The caller has n.mu.
func (n *Notify) setAlarm(l *lane, at, now time.Time) {
	switch {
	case !at.After(now):
		n.wakeLane(l)
	case at.Sub(now) <= pollEvery:
		heap.Push(&n.alarms, alarm{at, l})
		n.rouse()
	}
}

// ringAlarms wakes the lanes whose time has come, and returns how long the next one has, 0 for none. The
// caller has n.mu.
func (n *Notify) ringAlarms(now time.Time) time.Duration {
	for len(n.alarms) > 0 {
		if wait := n.alarms[0].at.Sub(now); wait > 0 {
			return wait
		}
		n.wakeLane(heap.Pop(&n.alarms).(alarm).lane)
	}
	return 0
}
