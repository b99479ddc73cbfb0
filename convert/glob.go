package convert

import (
	"fmt"
	"regexp"
	"strings"

	"bilinc/convert/match"
)

// glob compiles a pattern in which * stands for any characters, slashes
// included, and ? for any one.
func glob(pattern string) *regexp.Regexp {
	q := regexp.QuoteMeta(pattern)
	q = strings.ReplaceAll(q, `\*`, `.*`)
	q = strings.ReplaceAll(q, `\?`, `.`)
	return regexp.MustCompile(`(?s)^` + q + `$`)
}

// excluded gives the layers that the options leave out, with the reason. It
// fails for a glob that no layer's name matches: that is a slip of the pen.
func (o *Options) excluded(layers []*match.Layer, skips []match.Skip) (map[*match.Layer]string, error) {
	matches := func(patterns []string) (map[string]string, error) {
		by := map[string]string{}
		for _, p := range patterns {
			re, found := glob(p), false
			for _, l := range layers {
				if re.MatchString(l.Name) {
					found = true
					if _, ok := by[l.Name]; !ok {
						by[l.Name] = p
					}
				}
			}
			for _, s := range skips {
				found = found || re.MatchString(s.Name)
			}
			if !found {
				return nil, fmt.Errorf("%w: no layer has a name like %q", ErrOptions, p)
			}
		}
		return by, nil
	}
	only, err := matches(o.Layers)
	if err != nil {
		return nil, err
	}
	not, err := matches(o.Exclude)
	if err != nil {
		return nil, err
	}
	out := map[*match.Layer]string{}
	for _, l := range layers {
		if p, ok := not[l.Name]; ok {
			out[l] = fmt.Sprintf("excluded by %q", p)
		} else if _, ok := only[l.Name]; !ok && len(o.Layers) > 0 {
			out[l] = "not among the layers asked for"
		}
	}
	return out, nil
}
