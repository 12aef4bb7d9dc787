# The commands of this project. Each does its own set-up, says what it is doing, and is quick when
# nothing is to do. Without make: every target is the script named in it.

.DEFAULT_GOAL := help
.PHONY: help demo test lint lock bench mutation image clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: ## call variants in real reads on a yard of its own; ends in a report
	@bash scripts/setup/demo.sh

test: ## everything: style, types, contracts, all tests (brings engines and clients as root)
	@bash scripts/setup/test.sh

lint: ## style, types and the contracts between packages
	@bash scripts/setup/lint.sh

lock: ## resolve locks/*.txt again (newest versions: bash scripts/setup/lock.sh --upgrade)
	@bash scripts/setup/lock.sh

bench: ## the benchmarks; each prints a ratio measured side by side
	@bash scripts/setup/bench.sh

mutation: ## mutation testing of the kernel
	@bash scripts/setup/mutation.sh

image: ## the Debian image of the example, built without a registry
	@bash scripts/images/build.sh

clean: ## remove the environment, caches and the demo's output
	rm -rf .venv .cache demo-output mutants .mypy_cache .pytest_cache .ruff_cache .hypothesis
