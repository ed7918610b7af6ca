// Package vmtest holds what tests of virtual machines share: a fake backend whose
// guests are Go functions ([Fake]), one suite that every backend passes
// ([Conformance]), and a check for leaks ([CheckLeaks]).
//
// No production code imports it.
package vmtest
