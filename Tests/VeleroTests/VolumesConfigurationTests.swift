import Testing
import Velero

@Suite struct VolumesConfigurationTests {
    @Test(
        "A key that makes no sense is named, on one line",
        arguments: [
            (["repositori": "/x"], "repositori"), (["repository": ""], "repository"),
            (["repository": "backups"], "'backups'"), (["repository": "s3://"], "repository"),
            (["repository": "/a/../b"], "repository"),
            (["repositoryPasswordFile": "/p"], "repositoryKeyFile and repositoryPasswordFile"),
            (["repositoryKeyFile": ""], "all missing"), (["repositoryKeyFile": "key"], "absolute"),
            (["repositoryKeyFile": "", "repositoryKeySecret": "becalm"], "NAME/KEY"),
            (["repositoryKeyFile": "", "repositoryPasswordSecret": "a/b/c"], "NAME/KEY"),
            (["createRepository": "yes"], "createRepository"), (["region": "eu-1"], "region is for repositories at s3"),
            (["repository": "s3://b/p", "s3Url": "ftp://x"], "s3Url"),
            (["repository": "s3://b/p", "caCert": "x"], "caCert"),
            (["repository": "s3://b/p", "insecureSkipTLSVerify": "2"], "insecureSkipTLSVerify"),
            (["nodeRoots": ""], "nodeRoots and nfsRoots"), (["nodeRoots": "host"], "nodeRoots"),
            (["nodeRoots": "/a=/b=/c"], "nodeRoots"), (["nodeRoots": "/a=/b,/a=/c"], "twice"),
            (["nodeRoots": "/a/../b=/c"], "nodeRoots"), (["nodeName": ""], "NODE_NAME"),
            (["nfsRoots": "/export=/mnt"], "nfsRoots"), (["nfsRoots": "s:export=/mnt"], "nfsRoots"),
            (["restoreRoots": "x"], "restoreRoots"), (["restoreRoots": "s:/x"], "none of nodeRoots and nfsRoots"),
            (["restoreRoots": "/a,/b"], "two entries for the node"), (["memory": "64Mi"], "96Mi"),
            (["memory": "lots"], "memory"), (["memory": "99999999999Gi"], "memory"),
            (["cacheDirectory": "cache"], "cacheDirectory"), (["tolerate": "all"], "none, changes, unreadable"),
            (["nodeRoots": "/a\n=/b"], "nodeRoots"),
        ])
    func wrong(config: [String: String], words: String) async throws {
        let world = try VolumeWorld()
        let error = await volumeError { _ = try await world.open(config) }
        #expect(error?.code == .invalidArgument)
        #expect(error?.message.contains(words) == true, "\(error?.message ?? "no error")")
        #expect(error?.message.contains("\n") == false)
    }

    @Test("Nothing is looked for before it is needed, and an empty value counts as none")
    func lazy() async throws {
        let world = try VolumeWorld(["NODE_NAME": "n1"])
        _ = try await world.open([
            "repository": "s3://nowhere/prefix", "s3Url": "http://127.0.0.1:1", "s3ForcePathStyle": "true",
            "region": "eu-1",
            "repositoryKeyFile": "", "repositoryKeySecret": "becalm/key", "nodeName": "", "profile": "",
            "credentialsFile": "/nowhere", "nodeRoots": "/=/nowhere, /data=/elsewhere",
            "restoreRoots": "/data/restored",
            "memory": "1G", "tolerate": "changes", "cacheDirectory": "none",
        ])
    }

    @Test("A key in a Secret that cannot be read here is told with what to do instead")
    func noSecrets() async throws {
        let world = try VolumeWorld()
        try world.makeVolume()
        let plugin = try await world.open(["repositoryKeyFile": "", "repositoryKeySecret": "becalm/key"])
        let error = await volumeError {
            _ = try await plugin.createSnapshot(volumeID: "becalm1:hostpath:/data/pg", zone: "", tags: [:])
        }
        #expect(error?.code == .unavailable)
        #expect(error?.message.contains("Secret velero/becalm") == true && error?.message.contains("file") == true)
    }
}
