.PHONY: help run test race long ci bench bench-quick

help: ## this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

run: ## a daemon with a demo inventory
	go run ./cmd/sallyportd --demo

test: ## all tests
	go test ./...

race: ## all tests with the race detector
	go test -race ./...

long: ## all tests, taking their time: more power cuts, kills, crashes; half an hour of timings
	SALLYPORT_LONG=1 go test -timeout 120m ./...

ci: ## all that has to hold before a change lands
	.ci/run

bench: ## the project's benchmark, a table for the README; ARGS="--json FILE --pprof DIR --only get-64,idle ..."
	go run ./internal/bench $(ARGS)

bench-quick: ## the same in about a minute: a look, not a measurement
	go run ./internal/bench --quick $(ARGS)
