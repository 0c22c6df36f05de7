package main

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// machine describes what the numbers were measured on.
type machine struct {
	CPU     string `json:"cpu"`
	Cores   int    `json:"cores"`
	Kernel  string `json:"kernel"`
	Go      string `json:"go"`
	Date    string `json:"date"`
	Fsync   int64  `json:"fsync_ns"` // median of appending 4 KiB and fdatasync, where the state lies
	FsyncAt string `json:"fsync_on"` // the kind of file system
}

func describeMachine(dir string) machine {
	m := machine{
		CPU:   "unknown CPU",
		Cores: runtime.NumCPU(),
		Go:    runtime.Version(),
		Date:  time.Now().Format(time.DateOnly),
	}
	if info, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		for line := range strings.Lines(string(info)) {
			if k, v, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(k) == "model name" {
				m.CPU = strings.TrimSpace(v)
				break
			}
		}
	}
	var u unix.Utsname
	if err := unix.Uname(&u); err == nil {
		m.Kernel = unix.ByteSliceToString(u.Sysname[:]) + " " + unix.ByteSliceToString(u.Release[:])
	}
	m.FsyncAt = fileSystem(dir)
	return m
}

func (m machine) String() string {
	return fmt.Sprintf("%s, %d cores, %s, %s, %s", m.CPU, m.Cores, m.Kernel, m.Go, m.Date)
}

// fileSystem names the kind of file system that dir is on, as /proc/self/mountinfo has it.
func fileSystem(dir string) string {
	var st unix.Stat_t
	if err := unix.Stat(dir, &st); err != nil {
		return "unknown"
	}
	device := fmt.Sprintf("%d:%d", unix.Major(st.Dev), unix.Minor(st.Dev))
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return "unknown"
	}
	for line := range strings.Lines(string(mounts)) {
		if f := strings.Fields(line); len(f) > 2 && f[2] == device {
			if i := slices.Index(f, "-"); i > 0 && i+1 < len(f) {
				return f[i+1]
			}
		}
	}
	return "unknown"
}

// fsyncTimes appends 4 KiB and calls fdatasync, n times, in a new file of dir.
func fsyncTimes(dir string, n int) ([]float64, error) {
	f, err := os.Create(filepath.Join(dir, "fsync"))
	if err != nil {
		return nil, err
	}
	defer os.Remove(f.Name())
	defer f.Close()
	block := make([]byte, 4096)
	var times []float64
	for range n {
		began := time.Now()
		if _, err := f.Write(block); err != nil {
			return nil, err
		}
		if err := unix.Fdatasync(int(f.Fd())); err != nil {
			return nil, err
		}
		times = append(times, float64(time.Since(began)))
	}
	return times, nil
}

// ticks are the machine's processor times since it started, in steps of 10 ms.
type ticks struct{ busy, all float64 }

// readTicks reads them from /proc/stat: user nice system idle iowait irq softirq steal.
func readTicks() (ticks, error) {
	stat, err := os.ReadFile("/proc/stat")
	if err != nil {
		return ticks{}, err
	}
	return parseTicks(string(stat))
}

func parseTicks(stat string) (ticks, error) {
	line, _, _ := strings.Cut(stat, "\n")
	f := strings.Fields(line)
	if len(f) < 9 || f[0] != "cpu" {
		return ticks{}, fmt.Errorf("/proc/stat begins %q", line)
	}
	var t ticks
	for i, s := range f[1:9] {
		v, err := strconv.ParseFloat(s, 64)
		if err != nil {
			return ticks{}, fmt.Errorf("/proc/stat: %w", err)
		}
		t.all += v
		if i != 3 && i != 4 {
			t.busy += v
		}
	}
	return t, nil
}
