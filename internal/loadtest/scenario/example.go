package scenario

import _ "embed"

// Example is a scenario's file, with a comment for each key.
//
//go:embed example.yaml
var Example []byte
