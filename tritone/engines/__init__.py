"""Engines of one GPU: TensorRT plans of the flow and the vocoder, and the LLM's build around them.

    graph, modules, flow_graphs, vocoder_graphs   networks as functions of tensors, with their axes
    export, precision                             ONNX files, checked; their half-precision form
    machine, record                               what engines are tied to; engine.json
    builder, gate, llm_gate                       building a plan; judging what was built
    plan, solver                                  running a plan; the flow's solver on one
    sources, tasks, exports, plans, llm_engine    the work of scripts/build_engines.py
    door, build                                   what it needs, and all of it in order

TensorRT is imported only by calls that build or run a plan.
"""
