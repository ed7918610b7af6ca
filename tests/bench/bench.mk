# Benchmarks: ratios against peers measured in the same run, in build/bench.
.PHONY: bench
bench: build guest polyglot-build ## ratios against peers: bare guests here, Linux guests in the lab; build/bench/bench.{json,svg}
	BUILD=$(BUILD) tests/bench/run.sh $(BENCH)
