.PHONY: bench bench-quick

bench: ## the project's benchmark, a table for the README; ARGS="--json FILE --pprof DIR --only get-64,idle ..."
	go run ./internal/bench $(ARGS)

bench-quick: ## the same in about a minute: a look, not a measurement
	go run ./internal/bench --quick $(ARGS)
