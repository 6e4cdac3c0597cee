//go:build unix && (!linux || race)

package socket

import "syscall"

// These are announced to the scheduler, as the only way to a system call on other systems than Linux; and the only
// one by which the race detector sees that what was written is read after it.

func read(fd uintptr, b []byte) (int, syscall.Errno) {
	n, err := syscall.Read(int(fd), b)
	return n, number(err)
}

func write(fd uintptr, b []byte) (int, syscall.Errno) {
	n, err := syscall.Write(int(fd), b)
	return n, number(err)
}

func peek(fd uintptr) syscall.Errno {
	var b [1]byte
	_, _, err := syscall.Recvfrom(int(fd), b[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
	return number(err)
}

func number(err error) syscall.Errno {
	errno, _ := err.(syscall.Errno)
	return errno
}
