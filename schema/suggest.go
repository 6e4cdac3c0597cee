package schema

import "strings"

// nearest returns the word that a mistyped one was likely meant to be, "" where none is near.
func nearest(word string, words []string) string {
	if len(word) > 40 {
		return ""
	}
	best, bestEdits := "", 1+min(2, len(word)/3)
	for _, w := range words {
		if n := edits(strings.ToLower(word), w); n < bestEdits {
			best, bestEdits = w, n
		}
	}
	return best
}

// edits counts the letters to insert, delete, change or swap with a neighbour to get from a to b.
func edits(a, b string) int {
	before, last, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := range len(a) {
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			row[j+1] = min(last[j]+cost, last[j+1]+1, row[j]+1)
			if i > 0 && j > 0 && a[i] == b[j-1] && a[i-1] == b[j] {
				row[j+1] = min(row[j+1], before[j-1]+1)
			}
		}
		before, last, row = last, row, before
	}
	return last[len(b)]
}

// list joins words as a sentence does: a, b and c.
func list(words []string, last string) string {
	if len(words) < 2 {
		return strings.Join(words, "")
	}
	n := len(words) - 1
	return strings.Join(words[:n], ", ") + " " + last + " " + words[n]
}
