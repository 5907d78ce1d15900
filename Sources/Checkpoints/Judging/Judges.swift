/// All judges.
package enum Judges {
    /// In order of precedence: see `Judge`.
    package static let all: [any Judge] = [
        // Whole stores and caches.
        HubCacheJudge(),
        HubDownloadJudge(),
        OllamaJudge(),

        // Directories of a framework, which contain files of other formats.
        RayTrainJudge(),
        NeMoJudge(),
        TrainerJudge(),
        AccelerateJudge(),
        MegatronJudge(),
        DeepSpeedJudge(),
        OrbaxJudge(),

        // Directories of files of one format.
        LightningJudge(),
        DistributedJudge(),
        FlaxJudge(),
        ComposerJudge(),

        // Sets of files, and single files.
        PEFTJudge(),
        SafetensorsJudge(),
        GGUFJudge(),
        TorchJudge(),
    ]
}
