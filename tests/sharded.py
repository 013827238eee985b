"""One of two processes that share a student's parameters by FSDP: torchrun … sharded.py MODEL CHUNK [features].

Prints the loss of one step and the norms of the gradients, whole; see test_engine.py.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import torch
import torch.distributed as dist
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard

from implementations.teachers.local import load
from implementations.transfer import students
from implementations.transfer.chat import row
from implementations.transfer.collate import RightPadding
from implementations.transfer.config import Features, Loss, Source
from implementations.transfer.features import hidden_state_loss
from implementations.transfer.heads import adjustment
from implementations.transfer.objective import Objective, Teacher, learning

PAIRS = [("CRP 142 confirmed pneumonia.", "a"), ("Seen today: man of 40, gout.", "gout, 40, seen today and sent home")]


def step(folder: Path, shard: bool, chunk: int, features: Features | None) -> dict[str, float]:
    """Loss, and the norm of every gradient by parameter."""
    teacher, tokenizer = load(folder, "cpu", "float32")
    student = students.cut(teacher, 2)
    rows = [row(tokenizer, "Summarize.", *pair) for pair in PAIRS]
    batch = RightPadding(tokenizer.pad_token_id)([vars(r) for r in rows])
    head = teacher.get_output_embeddings().weight.detach()
    objective = Objective(
        Loss(0.3, source=Source.LIVE, chunk=chunk, features=features),
        Teacher(head, adjustment(teacher), teacher),
        len(tokenizer),
        hidden_state_loss(features, student, teacher) if features else None,
    )
    with learning(student, objective):
        if shard:
            mesh = init_device_mesh("cpu", (2,))
            for layer in student.base_model.layers:
                fully_shard(layer, mesh=mesh)
            fully_shard(student, mesh=mesh)
        loss = student(**batch)
        loss.backward()
        whole = (lambda x: x.full_tensor()) if shard else (lambda x: x)
        return {"loss": loss.item()} | {name: whole(p.grad).norm().item() for name, p in student.named_parameters()}


def main() -> None:
    dist.init_process_group("gloo")
    torch.set_num_threads(1)
    features = Features() if "features" in sys.argv else None
    found = step(Path(sys.argv[1]), shard=True, chunk=int(sys.argv[2]), features=features)
    if dist.get_rank() == 0:
        print(json.dumps(found), flush=True)
    dist.barrier()
    os._exit(0)  # gloo's threads now and then abort a process that ends in order


if __name__ == "__main__":
    main()
