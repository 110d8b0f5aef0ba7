# docker build -t amd_mm .
# docker run --gpus all --shm-size 8g -it -v /my/videos:/videos amd_mm
#
# PyPI's PyTorch runs on GPUs and CPUs. Another build, such as the smaller one for CPUs only:
# docker build -t amd_mm --build-arg TORCH_INDEX=ADDRESS .     (addresses: pytorch.org/get-started)
FROM python:3.11-slim

ARG TORCH_INDEX=
ENV VIRTUAL_ENV=/opt/venv PATH=/opt/venv/bin:$PATH PIP_NO_CACHE_DIR=1

WORKDIR /amd_mm
COPY . .
RUN python -m venv "$VIRTUAL_ENV" \
    && grep -oE '^torch(vision)?==[0-9.]+' requirements/torch.txt > /tmp/torch.txt \
    && pip install ${TORCH_INDEX:+--index-url "$TORCH_INDEX"} -r /tmp/torch.txt \
    && bash tools/install.sh
