# The site: guides and references; the guides' examples.
.PHONY: docs docs-test
docs: setup polyglot-build $(NODE_DIR)/tools/package-lock.json ## the site with guides and references in build/docs/site
	BUILD=$(BUILD) docs/build.sh

docs-test: polyglot-build ## the examples of the guides that need no Linux guest; the others run in make abi-linux
	BUILD=$(BUILD) docs/examples.py prepare
