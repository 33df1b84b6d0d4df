// Package webtest tests the page in a real Chromium. Its tests need the build tag browser, Chromium and, for axe-core, npm;
// .ci/run browser installs and runs all of it.
package webtest
