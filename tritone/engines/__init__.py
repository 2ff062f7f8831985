"""Engines of one GPU: TensorRT plans of a family's networks, and the language model's build.

    graph, sources                networks as functions of tensors with their axes, as families give
    export, precision             ONNX files, checked; their half-precision form
    machine, record               what engines are tied to; engine.json
    builder                       building a plan
    acceptance, llm_acceptance    judging what was built
    plan, plan_solver             running a plan; a flow's solver on one
    served_plans                  the same, for the stages that serve
    tasks, exports, plans, llm_build, build    a build in tasks
    preflight                     what a build needs

TensorRT is imported only by calls that build or run a plan.
"""
