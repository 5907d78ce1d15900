/// What wrote a checkpoint, a model or a cache. The raw values stand in reports and do not change.
package enum CheckpointFormat: String, CaseIterable, Hashable, Sendable {
    /// A file of `torch.save`, of today or of before version 1.6.
    case torch
    /// PyTorch's distributed checkpoints, `torch.distributed.checkpoint`.
    case dcp
    case deepspeed
    case deepspeedUniversal = "deepspeed-universal"
    /// Megatron-LM's own files, one for each rank of the model.
    case megatron
    /// Megatron-Core's distributed checkpoints.
    case megatronDist = "megatron-dist"
    case transformersTrainer = "transformers-trainer"
    case accelerate
    case peft
    case lightning
    case nemo
    case orbax
    case flax
    case rayTrain = "ray-train"
    case composer
    case safetensors
    case gguf
    case huggingFaceCache = "huggingface-cache"
    case ollama
}

/// What a finding is of.
package enum StateKind: String, Hashable, Sendable {
    /// What a job goes on from.
    case checkpoint
    /// Weights to run or to train on.
    case model
    /// What can be fetched again, at a price.
    case cache
}

/// Whether the framework that wrote something can read it again. Says nothing about single bits in it: see
/// `SurveyDepth.deep`.
package enum Judgement: String, Hashable, Sendable {
    /// Every rule of the format holds.
    case complete
    /// There is evidence that its loader fails, or goes on from a wrong state.
    case torn
    /// It cannot be told; the finding says why.
    case unknown
    /// Begun, and nothing in it yet.
    case empty
}
