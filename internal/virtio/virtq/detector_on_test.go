//go:build race

package virtq_test

// raceDetector tells that the tests were built with -race.
const raceDetector = true
