//go:build unix && !linux

package socket

import (
	"errors"
	"syscall"
)

// These are announced to the scheduler, as the only way here to a system call.

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

func number(err error) (errno syscall.Errno) {
	errors.As(err, &errno)
	return errno
}
