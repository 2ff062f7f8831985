"""Where the emotion model stands in a model directory. It needs nothing, so that the doctor can say
what is missing where little works."""

FOLDER = "emotion_model"
GRAPH = (f"{FOLDER}/onnx/int8.onnx", f"{FOLDER}/onnx/int8.onnx.data")
FILES = (f"{FOLDER}/model.safetensors", f"{FOLDER}/tokenizer.json", *GRAPH)
