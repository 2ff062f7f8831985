"""Engines of one GPU: TensorRT plans of a family's networks, and the language model's build.

    sources                      networks as functions of tensors with their axes, as families give
    export, precision            ONNX files, checked; their half-precision form
    machine, record              what engines are tied to; engine.json
    plans, llm_build, build      a build in tasks; acceptance judges what came out
    plan                         running a plan; a flow's solver and a vocoder's filter on one

TensorRT is imported only by calls that build or run a plan.
"""
