//go:build linux && race

package block

// raceRounds: a binary with the race detector starts slowly.
const raceRounds = 5
