# make run   opens the app with two virtual devices (without a display: the demo)
# make test  everything that must hold; sets up what it needs
SHELL := /bin/sh
.DEFAULT_GOAL := help
export CARGO_TERM_COLOR ?= auto

NPM := npm --prefix ui
TARGET := $(or $(CARGO_TARGET_DIR),target)
APP := $(TARGET)/debug/airlift-desktop
CLI := $(TARGET)/debug/airlift

.PHONY: help run demo test test-kill check bench prove fuzz screenshots firmware build \
	setup setup-test ui test-rust test-ui test-window test-firmware test-mutants test-mutants-sample test-fuzz test-micropython

help:
	@echo "make run          open the app with two virtual devices (no display: make demo)"
	@echo "make demo         the main job on two virtual devices, in the terminal"
	@echo "make test         set up and pass all tests"
	@echo "make check        formatting, lints, docs, generated files, licences"
	@echo "make test-mutants takes each defence out and requires that a test notices"
	@echo "make test-micropython  the client for MicroPython, under the real MicroPython"
	@echo "make bench        speed as ratios: chunk server against nginx, update against bare flash"
	@echo "make prove        every power cut of every update, and cuts in what follows"
	@echo "make fuzz         each fuzz target for SECONDS=60, or those that FUZZ names"
	@echo "make test-fuzz    the corpora, and a minute of random changes of them"
	@echo "make screenshots  every state of the window, into screenshots/"
	@echo "make size         what the updater weighs on a board, and how deep its stack goes"
	@echo "make firmware     the ESP32-C3 images, with what they weigh"
	@echo "make emulate      the board's program, updated in Espressif's QEMU"

setup:
	@scripts/setup.sh base window

setup-test:
	@scripts/setup.sh base window test firmware
	@scripts/venv.sh

ui/node_modules/.package-lock.json: ui/package-lock.json
	$(NPM) ci
	@touch $@

ui: ui/node_modules/.package-lock.json
	$(NPM) run build

build: setup ui
	cargo build --locked --workspace

run: build
	@if [ -n "$$DISPLAY$$WAYLAND_DISPLAY" ]; then \
		exec $(APP) --try-virtual-devices; \
	else \
		echo "No display: running the demo in the terminal."; \
		exec $(CLI) demo; \
	fi

demo:
	@scripts/setup.sh base
	cargo run --locked --quiet -p airlift-cli -- demo

test: setup-test check test-ui test-rust test-mutants-sample test-fuzz test-window test-firmware \
	test-micropython
	@echo "All tests passed."

check: ui
	@scripts/check.sh

test-ui: ui/node_modules/.package-lock.json
	$(NPM) test

test-rust: ui
	@scripts/test-rust.sh

test-window: ui
	cargo build --locked --workspace
	@tests/window/run.sh $(APP) $(CLI)

test-firmware:
	@scripts/test-firmware.sh

# All power cuts: AIRLIFT_KILLS=200 make test-micropython
test-micropython:
	@scripts/setup.sh base
	@scripts/venv.sh
	@scripts/test-micropython.sh

# The four bugs that the prover must find, and every tenth defence against an attack.
test-mutants-sample:
	@tests/mutants/run.py --from prover --only switch-before-check --only wrong-slot-is-erased \
		--only sequence-before-confirm --only version-before-unpack
	@tests/mutants/run.py --from adversary --sample 1/10

# A share of them: make test-mutants MUTANTS='--from adversary --sample 1/10'
test-mutants:
	@scripts/setup.sh base
	@tests/mutants/run.py $(MUTANTS)

VERSION := 1.0.0
firmware:
	@scripts/setup.sh base firmware
	mkdir -p $(TARGET)/firmware
	firmware/boards/esp32c3/build.sh $(VERSION) $(TARGET)/firmware/board-$(VERSION).bin
	@python3 firmware/boards/esp32c3/size.py $(TARGET)/firmware/board-$(VERSION).elf \
		$(TARGET)/firmware/board-$(VERSION).bin
	cargo run --quiet --locked --manifest-path firmware/boards/factory/Cargo.toml -- \
		--partition-table $(TARGET)/firmware/partitions.bin
	for example in own plain; do EXAMPLE=$${example}_application \
		firmware/boards/esp32c3/build.sh $(VERSION) $(TARGET)/firmware/$$example.bin; done
	@python3 firmware/boards/esp32c3/size.py $(TARGET)/firmware/own.elf \
		--without $(TARGET)/firmware/plain.elf
	firmware/boards/esp32c3-demo/build.sh 1.0.0 $(TARGET)/firmware/demo-1.0.0.bin
	firmware/boards/esp32c3-demo/build.sh 1.1.0 $(TARGET)/firmware/demo-1.1.0.bin

# Needs QEMU's own build from Espressif, on PATH or in QEMU; `skipped` without it.
emulate:
	@scripts/setup.sh base firmware
	@firmware/boards/emulate/run.sh $(SCENARIO)

bench:
	@scripts/setup.sh base bench
	@tests/bench/run.sh

# All second cuts: make prove PROVE=--full. One failure again: make prove PROVE='--replay CASE'
prove:
	@scripts/setup.sh base
	cargo run --locked --quiet --profile prove -p airlift-prover -- $(PROVE)

SECONDS := 60
fuzz:
	@fuzz/run.sh $(SECONDS) $(FUZZ)

# The target folder of the workspace: most crates are built there already.
test-fuzz: export CARGO_TARGET_DIR = $(abspath $(TARGET))
test-fuzz:
	@cargo test --locked --quiet --manifest-path fuzz/Cargo.toml
	@cargo run --locked --quiet --manifest-path fuzz/Cargo.toml --bin short -- 60 1

screenshots: build
	@scripts/setup.sh test
	@tests/window/screenshots.sh $(APP) $(CLI) screenshots

.PHONY: size
size:
	@scripts/setup.sh firmware
	@scripts/size.sh docs/size.md

# A sample of it is part of the tests.
test-kill:
	@scripts/setup.sh base test
	AIRLIFT_KILLS=all cargo test --locked -p airlift-app --test killed -- --nocapture a_kill
