//go:build linux && !race

package block

const raceRounds = 0
