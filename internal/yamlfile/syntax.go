package yamlfile

import (
	"bytes"
	"regexp"
	"sort"
	"strconv"
)

// yamlError is how the YAML library writes a syntax error. It has no error type for them.
var yamlError = regexp.MustCompile(`(?s)^yaml: (?:line (\d+): )?(.*)$`)

// problem is what err says, without a line.
func problem(err error) string {
	if m := yamlError.FindStringSubmatch(err.Error()); m != nil {
		return m[2]
	}
	return err.Error()
}

// maxSearch is the size up to which a broken file is searched for the line that breaks it.
const maxSearch = 1 << 20

// brokenLine is the line on which data breaks YAML with err. The library often gives where the enclosing value begins,
// hundreds of lines above; from there on, brokenLine looks for the first line with which the file ends up broken in the
// same way.
func brokenLine(data []byte, err error) int {
	from := 1
	if m := yamlError.FindStringSubmatch(err.Error()); m != nil && m[1] != "" {
		from, _ = strconv.Atoi(m[1])
	}
	if len(data) > maxSearch {
		return from
	}
	var ends []int // ends[i] is where line i+1 ends
	for i := 0; i < len(data); {
		length := bytes.IndexByte(data[i:], '\n') + 1
		if length == 0 {
			length = len(data) - i
		}
		i += length
		ends = append(ends, i)
	}
	from = max(1, min(from, len(ends)))
	return from + sort.Search(len(ends)-from, func(i int) bool {
		_, _, cut := parse(data[:ends[from-1+i]])
		return cut != nil && problem(cut) == problem(err)
	})
}
