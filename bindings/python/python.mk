# The Python package. Included by the top Makefile, which sets BUILD.
#
# PYTHON is Debian's, whose mypy, pytest and flake8 the tests use: they are pinned by the distribution, and nothing is
# downloaded.
PYTHON ?= /usr/bin/python3

CAPSA_PYTHON := bindings/python

.PHONY: python python-test python-bindings

python: build ## wheel and source distribution of the Python package in build/python
	rm -rf $(BUILD)/python/dist
	$(PYTHON) $(CAPSA_PYTHON)/backend/capsa_build.py wheel $(BUILD)/python/dist $(BUILD)/libcapsa.so.0
	$(PYTHON) $(CAPSA_PYTHON)/backend/capsa_build.py sdist $(BUILD)/python/dist

python-bindings: ## declarations of the Python package, made again from the header
	$(PYTHON) $(CAPSA_PYTHON)/tools/gen_bindings.py include/capsa.h >$(CAPSA_PYTHON)/src/capsa/_bindings.py

python-test: python ## the wheel in a fresh environment: types, style, tests on bare guests
	BUILD=$(BUILD) PYTHON=$(PYTHON) $(CAPSA_PYTHON)/test.sh $(PYTEST_ARGS)
