package main

import (
	"fmt"

	"go.uber.org/zap"

	"hookswitch/schema"
)

// refuseSilence refuses a file that says nothing of projects where the one in use has some: a full disk, an
// editor or a copy that was broken off leave an empty file, and it would take everybody's numbers away.
func refuseSilence(name string, was, now *schema.Config) error {
	if now.SaysProjects || len(was.Projects) == 0 {
		return nil
	}
	return schema.Faults{{
		File: name, Line: 1, Column: 1, Key: "projects", Found: "nothing",
		Want: fmt.Sprintf("a list, which may be empty ([]): the file in use has projects, %d in all", len(was.Projects)),
	}}
}

// losses are what a file no longer has. One that was cut off at a line looks like one that was edited, so they
// are told.
type losses struct{ projects, numbers []string }

func lossesOf(was, now *schema.Config) (gone losses) {
	projects, numbers := map[string]bool{}, map[string]bool{}
	for _, p := range now.Projects {
		projects[p.ID] = true
		for i := range p.Numbers {
			numbers[p.Numbers[i].Number] = true
		}
	}
	for _, p := range was.Projects {
		if !projects[p.ID] {
			gone.projects = append(gone.projects, p.ID)
		}
		for i := range p.Numbers {
			if n := p.Numbers[i].Number; !numbers[n] {
				gone.numbers = append(gone.numbers, n)
			}
		}
	}
	return gone
}

// tell logs the losses, where there are any, with a few of each.
func (l losses) tell(log *zap.Logger, mask bool) {
	if len(l.projects)+len(l.numbers) == 0 {
		return
	}
	const few = 5
	projects := l.projects[:min(few, len(l.projects))]
	numbers := l.numbers[:min(few, len(l.numbers))]
	for i := range numbers {
		if mask {
			numbers[i] = schema.MaskNumber(numbers[i])
		}
	}
	log.Warn("the file no longer has projects or numbers that it had",
		zap.Int("projects_gone", len(l.projects)), zap.Strings("projects", projects),
		zap.Int("numbers_gone", len(l.numbers)), zap.Strings("numbers", numbers))
}
