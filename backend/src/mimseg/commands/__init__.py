"""One room for each command, and `locks` and `written`, which several of them share.

A room's `run` does what the command says; its `settings`, where it has them, are all that the command line hands over.
Others import only what the docstring of a room names. Arrows among rooms run one way: study and crossvalidate use
finetune and pretrain; finetune uses measure and the settings of pretrain; models uses the record of finetune.
"""
