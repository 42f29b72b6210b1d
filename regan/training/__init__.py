"""What GAN and classifier training share: checkpoints, the workspace, and its sync to object storage."""
