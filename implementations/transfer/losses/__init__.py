"""The distillation losses, one module each. What holds for all of them:

- The student comes first, the teacher second. No gradient flows into the teacher.
- A token loss takes the rows that carry loss, already selected: logits (N, V) or hidden states (N, H), no mask. It
  returns (N,), not reduced, because only the trainer knows how many tokens the global batch has. N = 0 is a batch in
  which every token is masked: its sum is 0, and so are its gradients.
- A sequence loss takes (B, …, T, …) and a mask (B, T), True at tokens and False at padding. It returns (B,), each
  sequence averaged over its own tokens; a sequence of padding alone gives 0.
- A batch loss compares the items of a batch with one another and returns one number.
- Arithmetic is in float32, or in float64 where the input is, whatever autocast says.
- A logit of −inf is an entry that cannot occur: its probability is 0, and 0 · log 0 = 0. A loss whose value is finite
  then has a finite gradient.
- Weights between losses, and the factors that papers write before them, are the caller's.
- Arguments that do not fit each other raise ValueError.
"""
