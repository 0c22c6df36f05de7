package methods

import (
	"math"
	"net/netip"
	"strconv"
	"strings"

	"sallyport/messages/exception"
	"sallyport/messages/qube"
	"sallyport/stages/action"
)

// validService: what follows service. becomes a file and a QubesDB entry of the qube (spec: model.md 10). It cannot hold
// a slash, which no feature's name can.
func validService(rest string) error {
	dispvm := strings.HasPrefix(rest, "app-dispvm.")
	if rest == "" || rest == "." || rest == ".." || len(rest) > 48 && !dispvm {
		return exception.New(exception.QubesValueError, "after service. come 1 to 48 bytes that name a file")
	}
	return nil
}

func validConfigName(rest string) bool {
	return 1 <= len(rest) && len(rest) <= 52 && 'a' <= rest[0]|0x20 && rest[0]|0x20 <= 'z'
}

// validPersist accepts /PATH and (file|dir):OWNER:GROUP:MODE:/PATH, whose path may hold colons.
func validPersist(s string) bool {
	if strings.HasPrefix(s, "/") {
		return true
	}
	parts := strings.SplitN(s, ":", 5)
	if len(parts) < 5 || parts[0] != "file" && parts[0] != "dir" || parts[1] == "" || parts[2] == "" {
		return false
	}
	mode, err := strconv.ParseUint(parts[3], 8, 16)
	return err == nil && mode <= 0o7777 && strings.HasPrefix(parts[4], "/")
}

// validPreload checks the settings of preloaded disposables (spec: model.md 6, "Preload features").
func validPreload(v qube.View, dest qube.Qube, setting string, value qube.FeatureValue) error {
	s := value.Shown()
	digits := s != "" && strings.Trim(s, "0123456789") == ""
	switch setting {
	case "max":
		if !digits && s != "" {
			return exception.New(exception.QubesValueError, "preload-dispvm-max is a whole number")
		}
		if dest.Class() == qube.AdminVM {
			return nil
		}
		return action.CanPreload(v, dest)
	case "delay":
		if f, err := strconv.ParseFloat(s, 64); s != "" && (err != nil || math.IsNaN(f) || math.IsInf(f, 0)) {
			return exception.New(exception.QubesValueError, "preload-dispvm-delay is a number of seconds")
		}
	case "threshold":
		if dest.Class() == qube.AdminVM && !digits && s != "" {
			return exception.New(exception.QubesValueError, "preload-dispvm-threshold is a whole number of MiB")
		}
	}
	return nil
}

// fakeAddresses are the features that hide a qube's real addresses from it (spec: model.md 10, SAFER: validated).
var fakeAddresses = map[string]bool{"ip": true, "gateway": true, "netmask": true}

func isIPv4(s string) bool {
	a, err := netip.ParseAddr(s)
	return err == nil && a.Is4()
}
