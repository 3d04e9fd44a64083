//! The functions, one file each: `Service<LambdaEvent<_>>` values that every host can run.
