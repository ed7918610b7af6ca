package image

import (
	"slices"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// Config is what an image says of how to run it. It is the image's word: who uses it checks it.
type Config struct {
	Entrypoint []string `json:"entrypoint,omitempty"`
	Cmd        []string `json:"cmd,omitempty"`  // arguments of Entrypoint, or the command if there is none
	Env        []string `json:"env,omitempty"`  // "NAME=value"
	User       string   `json:"user,omitempty"` // "name", "name:group", "1000:1000"; "": root
	WorkingDir string   `json:"working_dir,omitempty"`
	StopSignal string   `json:"stop_signal,omitempty"` // "SIGTERM", "9"
}

func configOf(c v1.Config) Config {
	return Config{
		Entrypoint: c.Entrypoint, Cmd: c.Cmd, Env: c.Env, User: c.User, WorkingDir: c.WorkingDir, StopSignal: c.StopSignal,
	}
}

// Command is the argv for args given by a person: they stand in the place of Cmd, after the entrypoint. Nil: the image
// names no program.
func (c Config) Command(args []string) []string {
	if len(args) == 0 {
		args = c.Cmd
	}
	return slices.Concat(c.Entrypoint, args)
}
