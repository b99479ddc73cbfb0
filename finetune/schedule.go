package finetune

import "math"

// rate is what the learning rate of a step is multiplied by: step counts from
// 0 to steps−1, the first warmup·steps of which rise linearly.
func (s Schedule) rate(step, steps int, warmup float64) float64 {
	rise := int(math.Round(warmup * float64(steps)))
	if step < rise {
		return float64(step+1) / float64(rise)
	}
	// 0 at the end of the warm-up, 1 after the last step.
	x := float64(step-rise) / float64(max(1, steps-rise))
	switch s {
	case Cosine:
		return 0.5 * (1 + math.Cos(math.Pi*x))
	case Step:
		switch {
		case x >= 0.75:
			return 0.01
		case x >= 0.5:
			return 0.1
		}
	}
	return 1
}
