"""Distillation that runs: tasks, teachers, recipes, evaluation and the record of what a run measured."""
