// Command expect compares what a check has found with what was planted for it:
//
//	a check 2>&1 | go run ./tests/darwin/expect [-first] FOLDER...
//
// Files of the folders say in comments what is wrong with a line: // want "pattern". Each
// has to be found, and nothing else; with -first, one of them is enough, for a check that
// stops at its first mistake.
package main

import (
	"bufio"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

// want is a mistake that was planted.
type want struct {
	pattern *regexp.Regexp
	found   bool
}

// place is a line of a file, "tests/a.go:3".
type place string

func main() {
	first := flag.Bool("first", false, "one mistake is enough")
	flag.Parse()
	problems, err := run(os.Stdin, flag.Args(), *first)
	if err != nil {
		problems = append(problems, err.Error())
	}
	for _, p := range problems {
		fmt.Fprintln(os.Stderr, "expect:", p)
	}
	if len(problems) > 0 {
		os.Exit(1)
	}
}

func run(found io.Reader, folders []string, first bool) (problems []string, err error) {
	wants := map[place]*want{}
	for _, folder := range folders {
		files, err := filepath.Glob(filepath.Join(folder, "*.go"))
		if err != nil {
			return nil, err
		}
		for _, file := range files {
			if err := read(file, wants); err != nil {
				return nil, err
			}
		}
	}
	if len(wants) == 0 {
		return nil, fmt.Errorf("nothing is planted in %s", strings.Join(folders, " "))
	}
	surprises, err := match(found, wants)
	hits := 0
	for at, w := range wants {
		if w.found {
			hits++
		} else if !first {
			problems = append(problems, fmt.Sprintf("%s: not found: %v", at, w.pattern))
		}
	}
	if hits == 0 {
		problems = append(problems, "nothing was found")
	}
	return append(problems, surprises...), err
}

var wantComment = regexp.MustCompile(`// want "([^"]*)"`)

// read collects what is planted in a file.
func read(file string, wants map[place]*want) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	for i, line := range strings.Split(string(text), "\n") {
		m := wantComment.FindStringSubmatch(line)
		if m == nil {
			continue
		}
		pattern, err := regexp.Compile(m[1])
		if err != nil {
			return fmt.Errorf("%s:%d: %w", file, i+1, err)
		}
		wants[at(file, fmt.Sprint(i+1))] = &want{pattern: pattern}
	}
	return nil
}

// message is what compilers and linters print: file, line, column, text.
var message = regexp.MustCompile(`(?:^|\s)(\S+\.go):(\d+):\d+: (.*)`)

// match marks what was found, and returns messages that nobody expects.
func match(found io.Reader, wants map[place]*want) (surprises []string, err error) {
	lines := bufio.NewScanner(found)
	for lines.Scan() {
		m := message.FindStringSubmatch(lines.Text())
		if m == nil {
			continue // an excerpt, or a summary
		}
		w := wants[at(m[1], m[2])]
		if w == nil || !w.pattern.MatchString(m[3]) {
			surprises = append(surprises, "unexpected: "+lines.Text())
			continue
		}
		w.found = true
	}
	return surprises, lines.Err()
}

func at(file, line string) place { return place(filepath.Clean(file) + ":" + line) }
