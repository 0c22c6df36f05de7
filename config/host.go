package config

import (
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"
)

// Host is what Load asks of the machine.
type Host struct {
	UID         uint32 // of this process
	Descriptors uint64 // that it may have open
	TempDir     string
	IsDir       func(path string) bool
	User        func(name string) (uid uint32, err error)
	Group       func(name string) (gid uint32, err error)
}

// ThisHost is the machine we are on.
func ThisHost() Host {
	var files syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &files); err != nil {
		files.Cur = 2 * reserved // never seen to fail; this much every system gives
	}
	return Host{
		UID:         uint32(os.Geteuid()),
		Descriptors: files.Cur,
		TempDir:     os.TempDir(),
		IsDir: func(path string) bool {
			info, err := os.Stat(path)
			return err == nil && info.IsDir()
		},
		User: func(name string) (uint32, error) {
			u, err := user.Lookup(name)
			if err != nil {
				return 0, err
			}
			return parseID(u.Uid)
		},
		Group: func(name string) (uint32, error) {
			g, err := user.LookupGroup(name)
			if err != nil {
				return 0, err
			}
			return parseID(g.Gid)
		},
	}
}

// parseID reads a uid or gid. The largest number means "none" to the kernel.
func parseID(s string) (uint32, error) {
	id, err := strconv.ParseUint(s, 10, 32)
	if err == nil && id == 1<<32-1 {
		err = strconv.ErrRange
	}
	return uint32(id), err
}

// SocketDir is where a client finds the daemon's sockets if nobody tells him.
func SocketDir(env func(string) string, h Host) string {
	if dir := env(variable("socket-dir")); dir != "" {
		return dir
	}
	return h.socketDir(env)
}

func (h Host) socketDir(env func(string) string) string {
	if h.UID == 0 {
		return "/run/sallyport"
	}
	if dir := env("XDG_RUNTIME_DIR"); filepath.IsAbs(dir) { // a relative one is to be ignored, says the XDG specification
		return filepath.Join(dir, "sallyport")
	}
	// Anyone can make a directory of this name: whoever uses it has to see that it is his own, and closed to others.
	return filepath.Join(h.TempDir, "sallyport-"+strconv.FormatUint(uint64(h.UID), 10))
}

// stateDir is empty if there is no place for one.
func (h Host) stateDir(env func(string) string) string {
	if h.UID == 0 {
		return "/var/lib/sallyport"
	}
	if dir := env("XDG_STATE_HOME"); filepath.IsAbs(dir) {
		return filepath.Join(dir, "sallyport")
	}
	if home := env("HOME"); filepath.IsAbs(home) {
		return filepath.Join(home, ".local", "state", "sallyport")
	}
	return ""
}
