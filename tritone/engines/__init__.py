"""TensorRT plans of the flow and the vocoder: ONNX exports, builder, gate, and running a plan.

    modules, graph, flow_graphs, vocoder_graphs   networks as functions of tensors, with their axes
    export, precision                             ONNX files, checked; their half-precision form
    machine, record                               what a plan is tied to; engine.json
    builder, gate, plan                           building, judging and running a plan

Only `builder`, `machine` and `plan` import TensorRT, and only when they are called.
"""
