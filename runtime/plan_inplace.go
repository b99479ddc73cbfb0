package runtime

// overwrite lets an element-wise program write its result over an operand of
// the same size that nothing reads afterwards: the operand's memory is in the
// caches, and the arena needs no room for both.
func (p *plan) overwrite() {
	for i := range p.steps {
		s := &p.steps[i]
		if _, ok := s.op.(pointwise); !ok || s.late || s.view || s.out[0] < 0 {
			continue
		}
		to := p.bufferOf[s.out[0]]
		if p.buffers[to].source != inArena {
			continue
		}
		for _, k := range s.in {
			if k < 0 || p.bufferOf[k] < 0 || p.bufferOf[k] == to {
				continue
			}
			from := p.bufferOf[k]
			u := &p.buffers[from]
			// An operand of as many elements is read where the result is written; one that is spread has fewer.
			if u.source != inArena || u.last != i || u.bytes != p.buffers[to].bytes {
				continue
			}
			u.last = p.buffers[to].last
			p.buffers[to].source = merged
			for slot, b := range p.bufferOf {
				if b == to {
					p.bufferOf[slot] = from
				}
			}
			break
		}
	}
}
