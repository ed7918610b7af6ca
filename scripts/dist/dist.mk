# The release set.
.PHONY: dist dist-check
dist: setup ## wheel, npm tarball, Debian package, tarball, bill of materials and checksums in build/dist
	BUILD=$(BUILD) scripts/dist/build.sh $(VERSION)

dist-check: dist polyglot-build ## installs each in a clean root and runs scenarios there; builds it all again, the same bytes
	BUILD=$(BUILD) scripts/dist/check.sh $(VERSION)
